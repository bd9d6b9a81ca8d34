"""`schema`: the JSON Schema of a manifest."""

from __future__ import annotations

import json

import click

from hedra_batch.cli.help import show_examples
from hedra_batch.errors import EXIT_DONE


@click.command(epilog=show_examples("hedra-batch schema > manifest.schema.json"))
def schema() -> int:
    """Print what an editor needs to complete and check manifests.

    It is a JSON Schema of the manifest.
    """
    from hedra_batch.manifest.schema import manifest_schema

    print(json.dumps(manifest_schema(), indent=2))
    return EXIT_DONE
