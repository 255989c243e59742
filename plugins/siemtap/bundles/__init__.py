"""Bundles of installed plugins: add-ons for Splunk, integration packages for Elastic.

source       where a plugin is installed from: its folder, version, requirements
addon        a Splunk add-on, as a tarball
ucc          UCC and the libraries that add-ons carry, installed by pip
licenses     the licenses of those libraries
integration  an integration package of Elastic's, as a ZIP archive
archive      archives that are equal byte for byte for equal files
"""
