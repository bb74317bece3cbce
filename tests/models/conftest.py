import pytest
from oracle_case import NAMES, load


@pytest.fixture(params=NAMES)
def case(request):
    return load(request.param)
