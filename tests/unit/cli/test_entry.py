import subprocess
import sys


def test_without_its_packages_the_command_says_what_to_install() -> None:
    # As if only the SDK were installed: typer cannot be found.
    program = (
        "import sys; sys.modules['typer'] = None; from servemark.cli.entry import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'servemark[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_them_it_runs() -> None:
    program = "import sys; sys.argv[1:] = ['--help']; from servemark.cli.entry import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert "recommend" in done.stdout
