"""Receive, query, send and retrieve DICOM over the network; needs the extra ``dimse``."""
