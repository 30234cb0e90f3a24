"""Serve the warehouse over HTTP: DICOMweb, REST and a viewer (extra ``server``)."""
