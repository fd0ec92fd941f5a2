"""Real mail hosts in network namespaces, for tests, for the demo and for a person (`python -m tests.lab`).

Nothing here but the tests and their conftest may import pytest.
"""

from tests.lab.lab import Lab
from tests.lab.world import availability

__all__ = ["Lab", "availability"]
