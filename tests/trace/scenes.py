"""What is played under strace: the scenes of tests/system/run, and those that show the programs which it does not need."""
import importlib.machinery, importlib.util, os, pathlib, sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent


def load(name, path):
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


os.environ.setdefault("QMAIL_SYSTEM_TEST_SPACES", "made")
office = load("office", HERE.parent / "system/run")
hold, skip, run, eventually, write, mails = office.hold, office.skip, office.run, office.eventually, office.write, office.mails
HOME, SERVICE = office.HOME, office.SERVICE


if __name__ == "__main__":
    office.TOP = pathlib.Path("/mnt/top")
    for scene in (office.configure, office.serve, office.deliver, office.accounts, office.service, office.separate, office.fill,
                  office.stop):
        import time
        begun = time.time()
        scene()
        print(f"{scene.__name__}: {time.time() - begun:.1f} s")
    print(f"{office.passed} passed, {office.failed} failed, {office.skipped} skipped")
    sys.exit(1 if office.failed else 0)
