"""The archive over HTTP: DICOMweb, REST and a viewer. Extra ``server``; docs/how-to/serve.md."""
