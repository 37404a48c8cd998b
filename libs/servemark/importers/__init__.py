"""Readers of other tools' result files: a file in, records and rejections out."""
