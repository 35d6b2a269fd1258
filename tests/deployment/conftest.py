import pytest

from world import Cloud

LEFT_OUT = {}


@pytest.fixture(scope="session")
def cloud(tmp_path_factory):
    """The stack, deployed with the real binaries."""
    cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    try:
        cloud.start()
        cloud.deploy()
        LEFT_OUT.update(cloud.without)
        yield cloud
    finally:
        cloud.stop()


def pytest_terminal_summary(terminalreporter):
    for name, why in LEFT_OUT.items():
        terminalreporter.write_line(f"left out of the deployment, since the engine lacks it: {name}: {why}")
