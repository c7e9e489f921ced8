"""The package of the programs depends on the operators' package of the same version."""

from hatchling.metadata.plugin.interface import MetadataHookInterface


class CustomMetadataHook(MetadataHookInterface):
    def update(self, metadata):
        metadata["dependencies"] = [f"pdloss-ort=={metadata['version']}"]
