"""The scenes of tests/system/run for suites that play them too, as a module: it has no name that Python would import."""
import importlib.machinery, importlib.util, pathlib


def load():
    """Runs the head of it: whoever is in spaces of its own already says so before, in QMAIL_SYSTEM_TEST_SPACES."""
    path = pathlib.Path(__file__).resolve().parent / "system/run"
    loader = importlib.machinery.SourceFileLoader("office", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("office", loader))
    loader.exec_module(module)
    return module
