import pytest
from oracle_case import NAMES, OracleCase


@pytest.fixture(params=NAMES)
def case(request):
    case = OracleCase(request.param)
    yield case
    case.gguf.close()
