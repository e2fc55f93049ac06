"""Finished work on disk: manifests, hashes, locks."""
