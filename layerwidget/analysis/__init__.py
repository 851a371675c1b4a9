"""One file per question. Importing this package registers every answer."""

from layerwidget.analysis import attention, logit_lens

__all__ = ["attention", "logit_lens"]
