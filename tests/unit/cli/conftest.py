from tests.support.command import run

__all__ = ["run"]
