"""Questions and what comes back: frozen values. Views name the ones and draw the others; `analysis/` answers.

One file per question, with its result beside it.
"""

from layerwidget.questions.base import (
    DerivedQuestion as DerivedQuestion,
    ModelQuestion as ModelQuestion,
    OnScreen as OnScreen,
    TraceQuestion as TraceQuestion,
    answers as answers,
    sources as sources,
    steps as steps,
)
