"""The loop that most people write first: embeddings, TensorDataset, DataLoader, Adam."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.comparison.contract import Floats, Run
from benchmarks.comparison.task import Task


class Embeddings(nn.Module):
    """mu + b_u + b_i + p_u . q_i."""

    def __init__(self, n_users: int, n_items: int, dim: int, mean: float) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(n_users, dim), nn.Embedding(n_items, dim)
        self.user_bias, self.item_bias = nn.Embedding(n_users, 1), nn.Embedding(n_items, 1)
        for embedding in (self.users, self.items):
            nn.init.normal_(embedding.weight, std=0.1)
        for bias in (self.user_bias, self.item_bias):
            nn.init.zeros_(bias.weight)
        self.mean = nn.Parameter(torch.tensor(mean))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        dot = (self.users(user) * self.items(item)).sum(1)
        predicted: Tensor = dot + self.user_bias(user).squeeze(1) + self.item_bias(item).squeeze(1) + self.mean
        return predicted


class PlainLoop:
    """Rows that training does not know keep what they were initialised with, shrunk by weight decay."""

    def __init__(self, run: Run) -> None:
        self.settings = run.settings
        torch.manual_seed(run.seed)
        torch.set_num_threads(run.threads)

    def prepare(self, task: Task) -> None:
        user, item, rating = map(torch.from_numpy, (task.train_user, task.train_item, task.train_rating))
        self.loader = DataLoader(
            TensorDataset(user, item, rating), batch_size=self.settings["batch_size"], shuffle=True
        )
        self.model = Embeddings(
            task.n_users, task.n_items, self.settings["embedding_dim"], float(task.train_rating.mean())
        )
        self.test = torch.from_numpy(task.test_user), torch.from_numpy(task.test_item)

    def fit(self) -> None:
        rate, decay = self.settings["learning_rate"], self.settings["weight_decay"]
        optimizer = torch.optim.Adam(self.model.parameters(), lr=rate, weight_decay=decay)
        for _ in range(self.settings["epochs"]):
            for user, item, rating in self.loader:
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(self.model(user, item), rating)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()

    def predict(self) -> Floats:
        with torch.no_grad():
            predicted: Floats = self.model(*self.test).double().numpy()
        return predicted
