import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def compilers():
    """Names of the C and C++ compilers; skips where there is none."""
    c, cxx = shutil.which("cc"), shutil.which("c++")
    if c is None or cxx is None:
        pytest.skip("needs a C and a C++ compiler")
    return c, cxx
