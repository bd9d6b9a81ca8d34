"""`schema`: the JSON Schema of a manifest."""

from __future__ import annotations

import json

import click

from hedra_batch.errors import EXIT_DONE


@click.command()
def schema() -> int:
    """Print the JSON Schema of a manifest, for editors that complete and check YAML by one."""
    from hedra_batch.manifest.schema import manifest_schema

    print(json.dumps(manifest_schema(), indent=2))
    return EXIT_DONE
