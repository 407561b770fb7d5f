"""What every stage stands on: sections of params, artifacts, fingerprints, stores, DVC. Imports no other room."""
