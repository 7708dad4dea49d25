"""Notebooks of the table without anything behind them."""

from tmppool.jupyter import JupyterClient
from tmppool.notebook import Notebook
from tmppool.running import Dial, Running


def notebook_of(key: str = "k" * 22, pool: str = "main", created_at: float = 0.0, **facts: str) -> Notebook:
    """Return one in STARTING that answers nowhere; ``facts`` are those of Running."""
    running = Running(**{"key": key, "dial": Dial("127.0.0.1", 1), "token": "", "created_at": 0.0, **facts})
    return Notebook(key, pool, created_at, running.edition, running=running, jupyter=JupyterClient(running))
