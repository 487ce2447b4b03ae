"""
A table as it comes: used cars
==============================

Numbers, categories, text columns and missing values, in a data frame, and no preprocessing: a
:class:`~sknn.TabularNetRegressor` beside scikit-learn's gradient boosting, which takes such tables,
too. What both have learned is explained by scikit-learn's permutation importance and partial
dependence, and quantiles give intervals.
"""

# %%
# The cars are made up: what one costs depends on its age, its mileage and its power, on the make,
# on the fuel, and on how these go together. Some entries are missing, as in any table.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.model_selection import train_test_split

from sknn import TabularNetRegressor

rng = np.random.default_rng(0)
n = 3000
makes = [f"{name} {series}" for name in ("Ada", "Curie", "Gauss", "Noether") for series in "ABCD"]
X = pd.DataFrame({
    "age": rng.gamma(3.0, 2.5, n).round(1),
    "mileage": rng.gamma(4.0, 20_000.0, n).round(-2),
    "power": rng.normal(110.0, 35.0, n).clip(40, 300).round(),
    "make": pd.Categorical(rng.choice(makes, n)),
    "fuel": rng.choice(["petrol", "diesel", "electric"], n, p=[0.5, 0.3, 0.2]),
    "accident": rng.random(n) < 0.15,
})
worth = 30 + rng.normal(0, 8, len(makes))[X["make"].cat.codes] + 0.15 * (X["power"] - 110)
fading = np.where(X["fuel"] == "electric", 0.14, 0.09)
price = worth * np.exp(-fading * X["age"]) * (1 - 0.25 * np.tanh(X["mileage"] / 150_000))
price = price * np.where(X["accident"], 0.8, 1.0) * rng.lognormal(0, 0.08, n)
for column in ("mileage", "power", "fuel"):
    X.loc[rng.random(n) < 0.05, column] = np.nan
X_train, X_test, y_train, y_test = train_test_split(X, price, random_state=0)
print(X_train.head())

# %%
# Both get the table as it is. The ensemble of eight networks costs less than eight of them.
models = {
    "gradient boosting": HistGradientBoostingRegressor(
        categorical_features="from_dtype", random_state=0
    ),
    "network": TabularNetRegressor(max_iter=100, random_state=0),
    "8 networks in one": TabularNetRegressor(n_ensemble=8, max_iter=100, random_state=0),
}
trees = {"fuel": "category"}  # scikit-learn's trees want categories to be marked
for name, model in models.items():
    typed = "boosting" in name
    model.fit(X_train.astype(trees) if typed else X_train, y_train)
    score = model.score(X_test.astype(trees) if typed else X_test, y_test)
    print(f"{name:18s} R2 on held-out cars {score:.3f}")

# %%
# What each column contributes to that, and how the price depends on age and mileage.
figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
place = np.arange(X.shape[1])
for i, name in enumerate(["gradient boosting", "network"]):
    data = X_test.astype(trees) if "boosting" in name else X_test
    found = permutation_importance(models[name], data, y_test, n_repeats=5, random_state=0)
    axes[0].barh(place + 0.4 * i, found.importances_mean, 0.38, label=name)
axes[0].set_yticks(place + 0.2, X.columns)
axes[0].set(xlabel="loss of R2 if permuted", title="Permutation importance")
axes[0].legend(frameon=False)
some = X_train.dropna().head(300)
for name in ("gradient boosting", "network"):
    PartialDependenceDisplay.from_estimator(
        models[name], some.astype(trees) if "boosting" in name else some, ["age", "mileage"],
        ax=axes[1:] if name == "gradient boosting" else display.axes_,
        line_kw={"label": name},
    )  # fmt: skip
plt.show()
