"""Callbacks of scikit-learn (`sklearn.callback`) around a fit and its epochs."""


class FitTask:
    """Tells the callbacks of an estimator when its fit and the epochs begin and end."""

    def __init__(self, estimator, X, y, sample_weight):
        self.estimator = estimator
        weights = None if sample_weight is None else {"sample_weight": sample_weight}
        self.given = {"estimator": estimator, "X": X, "y": y, "metadata": weights}
        self.context = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        self.context.call_on_fit_task_begin(**self.given)

    def watch(self, trainer, fitted):
        """Follow `trainer`; `fitted()` gives the attributes of a fit that stops now."""
        if not getattr(self.estimator, "_skl_callbacks", None):
            return

        def on_epoch_begin():
            self.epoch = self.context.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(
                **self.given, reconstruction_attributes=fitted
            )

        def on_epoch():
            return self.epoch.call_on_fit_task_end(
                **self.given, reconstruction_attributes=fitted
            )

        trainer.on_epoch_begin, trainer.on_epoch = on_epoch_begin, on_epoch

    def end(self):
        """The estimator is fitted."""
        self.context.call_on_fit_task_end(**self.given, reconstruction_attributes={})
