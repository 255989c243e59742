"""Integration packages of Elastic, made from a plugin's manifest and mapping table.

An agent puts each record into `message`, as the vendor sent it. The ingest pipeline makes the event
from it, by the same table as Python.

    model      what a vendor declares: Package, Stream, Way
    form       the settings as a form shows them
    manifests  manifest.yml of the package and of each data stream
    agent      the configuration of the agent's inputs
    pipelines  the ingest pipelines of a data stream
    fields     the fields of a data stream
    transforms indices with the latest state
    samples    sample_event.json
    readme     docs/README.md
    build      all files of a package

`siemtap.bundles.integration` makes the ZIP archive.
"""
