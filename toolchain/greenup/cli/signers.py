"""`greenup signers`."""

from __future__ import annotations

import click

from greenup.cli import options


@click.command("signers")
@click.argument("action", type=click.Choice(["list", "add", "remove", "revoke"]), default="list")
@click.argument("who", required=False)
@options.device_option
@options.json_option
def command(action: str, who: str | None, device: str, as_json: bool) -> None:
    """Show or change whose bundles run on a device. A change is signed with your key, which it must trust.

    WHO is a public key's file to add, else a signer's name or fingerprint. `revoke` also refuses the key for good.

    \b
    Example:
      $ greenup signers add ~/.ssh/colleague.pub --device local
      owner      SHA256:0a1b…  ssh-ed25519
      colleague  SHA256:2c3d…  ssh-ed25519
    """
    from greenup import signing
    from greenup.devices import inventory, signers

    runner = inventory.find(device).runner
    rows = signers.listed(runner) if action == "list" else signers.change(runner, signing.find_key(), action, who)
    if as_json:
        options.print_json({"schema": "greenup.signers/1", "device": device, "signers": rows})
        return
    for row in rows:
        click.echo(f"{row['name']:<20} {row['fingerprint']}  {row['kind']}{'  revoked' if row['revoked'] else ''}")
