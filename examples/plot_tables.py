"""
A table as it comes: used cars
==============================

Numbers, categories, text columns and missing values, in a data frame, and no preprocessing: a
:class:`~sknn.TabularNetRegressor` beside scikit-learn's gradient boosting, which takes such tables,
too. What both have learned is explained by scikit-learn's permutation importance and partial
dependence, and quantiles give intervals.
"""

# %%
# The cars are made up: what one costs depends on its age, its mileage (in thousands), its power and
# its make, on the fuel, and on how these go together. Some entries are missing, as in any table.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sknn import TabularNetRegressor

rng = np.random.default_rng(0)
n = 2000
makes = [f"{name} {series}" for name in ("Ada", "Curie", "Gauss", "Noether") for series in "ABCD"]
X = pd.DataFrame({
    "age": rng.gamma(3.0, 2.5, n).round(1),
    "mileage": rng.gamma(4.0, 20.0, n).round(1),
    "power": rng.normal(110.0, 35.0, n).clip(40, 300).round(),
    "make": pd.Categorical(rng.choice(makes, n)),
    "fuel": rng.choice(["petrol", "diesel", "electric"], n, p=[0.5, 0.3, 0.2]),
    "accident": rng.random(n) < 0.15,
})
worth = 30 + rng.normal(0, 8, len(makes))[X["make"].cat.codes] + 0.15 * (X["power"] - 110)
fading = np.where(X["fuel"] == "electric", 0.14, 0.09)
price = worth * np.exp(-fading * X["age"]) * (1 - 0.25 * np.tanh(X["mileage"] / 150))
price = np.array(price * np.where(X["accident"], 0.8, 1.0) * rng.lognormal(0, 0.08, n))
for column in ("mileage", "power", "fuel"):
    X.loc[rng.random(n) < 0.05, column] = np.nan
X_train, X_test, y_train, y_test = train_test_split(X, price, random_state=0)
print(X_train.head())

# %%
# Networks take text as it is; the trees want text columns to be marked as categories. An ensemble
# of eight networks in one costs less than eight networks.
def typed(X):
    return X.astype({"fuel": "category"})


boosting = make_pipeline(
    FunctionTransformer(typed),
    HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0),
)
models = {
    "gradient boosting": boosting,
    "network": TabularNetRegressor(max_iter=60, random_state=0),
    "8 networks in one": TabularNetRegressor(n_ensemble=8, max_iter=60, random_state=0),
}
for name, model in models.items():
    score = model.fit(X_train, y_train).score(X_test, y_test)
    print(f"{name:18s} R² on held-out cars {score:.3f}")

# %%
# What each column contributes to that, and how the price depends on age and power. Both models have
# learned the same; the network's curves are smooth.
figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
places, lines, few = np.arange(X.shape[1]), axes[1:], X_train.dropna().head(200)
for i, name in enumerate(["gradient boosting", "network"]):
    found = permutation_importance(models[name], X_test, y_test, n_repeats=3, random_state=0)
    axes[0].barh(places + 0.4 * i, found["importances_mean"], 0.38, label=name)
    lines = PartialDependenceDisplay.from_estimator(
        models[name],
        few,
        ["age", "power"],
        grid_resolution=40,
        ax=lines,
        line_kw={"label": name, "color": f"C{i}"},
    ).axes_.ravel()
axes[0].set_yticks(places + 0.2, X.columns)
axes[0].invert_yaxis()
axes[0].set(xlabel="decrease of R² if permuted", title="Permutation importance")
axes[0].legend(frameon=False, loc="lower right")
for axis in lines:
    axis.set(ylabel="price (thousands)", title="Partial dependence")
    axis.get_legend().remove()
plt.show()

# %%
# Three quantiles at once: nine of ten cars should lie between the outer ones. There are somewhat
# fewer, as intervals always fit the training data better than other data.
quantiles = TabularNetRegressor(
    loss="quantile", quantile=[0.05, 0.5, 0.95], max_iter=60, random_state=0
)
low, middle, high = quantiles.fit(X_train, y_train).predict(X_test).T
inside = np.mean((low <= y_test) & (y_test <= high))
print(f"Intervals for 90% of the cars cover {inside:.0%}")

order = np.argsort(middle)
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
axes.fill_between(np.arange(len(order)), low[order], high[order], alpha=0.3, label="5% to 95%")
axes.plot(middle[order], label="median")
axes.plot(y_test[order], ".", ms=3, color="black", label="price")
axes.set(xlabel="held-out cars, by predicted median", ylabel="price (thousands)")
axes.legend(frameon=False)
plt.show()
