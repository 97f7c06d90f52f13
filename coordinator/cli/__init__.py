"""The `coordinator` command (SPEC section 5): serve, token, demo, watch, doctor, verify, erase, consumers.

Owns arguments, output and exit codes: 0 done, 1 failed or found something wrong, 2 wrong arguments or settings.
"""

import typer

from coordinator.cli import consumers, demo, doctor, erase, serve, token, verify, watch

app = typer.Typer(
    name="coordinator",
    help="Realtime session coordinator for live language-practice rooms.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("token")(token.token)
app.command("demo")(demo.demo)
app.command("watch")(watch.watch)
app.command("doctor")(doctor.doctor)
app.command("verify")(verify.verify)
app.command("erase")(erase.erase)
app.command("consumers")(consumers.consumers)


def main() -> None:
    """Run the command line."""
    app()
