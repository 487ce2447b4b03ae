"""The same training steps in PyTorch on a GPU; needs PyTorch."""

import torch
from torch import nn
from torch.nn import functional

from . import torch_autoencoders, torch_networks


class _LastState(nn.Module):
    """An LSTM whose last state goes to a dense layer."""

    def __init__(self, features, units, classes):
        super().__init__()
        self.cell = nn.LSTM(features, units, batch_first=True)
        self.output = nn.Linear(units, classes)

    def forward(self, x):
        """Return the logits."""
        return self.output(self.cell(x)[0][:, -1])


def dense(*sizes):
    """Return fully connected layers with relu between them."""
    return torch_autoencoders.dense(*sizes)


def convolutional(name):
    """Return one of the convolutional networks."""
    return torch_networks.network(name)


def lstm(features, units, classes):
    """Return a recurrent network for sequences of equal length."""
    return _LastState(features, units, classes)


def variational(inputs, hidden, components):
    """Return a variational autoencoder."""
    return torch_autoencoders.Variational(inputs, hidden, components)


def trainer(model, X, y, batch_size, device, graphs):
    """Return a function that trains for a number of epochs, and synchronizes with the device.

    The data are on the device; the number of samples is a multiple of the batch size. With
    `graphs`, a step is captured once as a CUDA graph, and replayed.
    """
    model.to(device)
    on_cuda = device == "cuda"
    X = torch.from_numpy(X).to(device)
    if X.ndim == 4:
        X = X.permute(0, 3, 1, 2).contiguous()
    y = None if y is None else torch.from_numpy(y).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, capturable=on_cuda and graphs)
    x_here, y_here = X[:batch_size].clone(), None if y is None else y[:batch_size].clone()

    def step():
        optimizer.zero_grad(set_to_none=True)
        if y is None:
            loss = model.loss(x_here, functional.binary_cross_entropy_with_logits)
        else:
            loss = functional.cross_entropy(model(x_here), y_here)
        loss.backward()
        optimizer.step()

    replay = step
    if graphs:
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        replay = graph.replay

    def train(epochs):
        for _ in range(epochs):
            for rows in torch.randperm(len(X), device=device).split(batch_size):
                torch.index_select(X, 0, rows, out=x_here)
                if y is not None:
                    torch.index_select(y, 0, rows, out=y_here)
                replay()
        if on_cuda:
            torch.cuda.synchronize()

    return train
