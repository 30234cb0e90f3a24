"""DICOM over the network: receive, answer queries, send and fetch; needs the extra ``dimse``."""
