"""scikit-learn's estimator checks: those of parametrize_with_checks, and some that it leaves out.

As in scikit-learn's own suite, estimators with few iterations stand for the defaults.
``HYPOTHESIS_PROFILE=long python -m pytest tests/test_sklearn.py`` checks the defaults too, in some minutes.
"""

import os

import pytest
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_vae import VAEClassifier, VAEImputer, VAETransformer

TRANSFORMERS = [
    VAETransformer(random_state=0),
    VAETransformer(n_components=2, hidden_layer_sizes=(8,), max_iter=3, random_state=0),
]
CLASSIFIERS = [
    VAEClassifier(random_state=0),
    VAEClassifier(hidden_layer_sizes=(16,), max_iter=15, learning_rate_init=0.01, random_state=0),
]
IMPUTERS = [
    VAEImputer(random_state=0),
    VAEImputer(n_components=2, hidden_layer_sizes=(8,), max_iter=3, n_draws=16, random_state=0),
]
ESTIMATORS = TRANSFORMERS + CLASSIFIERS + IMPUTERS
BRIEF = [TRANSFORMERS[1], CLASSIFIERS[1], IMPUTERS[1]]
IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
LEFT_OUT = [
    "check_dataframe_column_names_consistency",
    "check_get_feature_names_out_error",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_param_validation",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]


def expected_failures(estimator):
    """Return the checks that are expected to fail, with reasons; an unexpected pass fails the suite."""
    if isinstance(estimator, VAEImputer):
        return {}
    failures = {
        "check_sample_weight_equivalence_on_dense_data": (
            "Training draws mini-batches, noise and held-out rows at random, one draw per row. A row of weight 3 is "
            "one row with one draw; three copies are three rows with three draws, in other batches. For given "
            "settings the two fits minimise the same expected loss along different random paths, as scikit-learn's "
            "own SGDClassifier and MLPClassifier do, for which this check is an expected failure as well. Settings "
            "that are 'auto' go by the number of rows, in which copies count and weights do not. test_fit.py tests "
            "that fits with weights and with copies agree in the mean over seeds, that they are equal where nothing "
            "is drawn (one batch, no noise), and that rows of weight 0 are as good as removed."
        )
    }
    failures["check_sample_weight_equivalence_on_sparse_data"] = failures[
        "check_sample_weight_equivalence_on_dense_data"
    ]
    if isinstance(estimator, VAEClassifier):
        failures["check_classifiers_classes"] = (
            "One of its cases has the labels -1 and 1, and -1 marks unlabelled rows, so that one class is left. "
            "scikit-learn exempts its own semi-supervised classifiers (LabelPropagation, LabelSpreading, "
            "SelfTrainingClassifier) by name. test_classifier_classes_of_scikit_learn_without_minus_one runs the same "
            "check with other labels."
        )
    return failures


@parametrize_with_checks(
    ESTIMATORS if IS_LONG else BRIEF,
    expected_failed_checks=expected_failures,
    xfail_strict=True,
)
def test_scikit_learn_check(estimator, check):
    check(estimator)


# The checks of set_output mix frames and arrays between fit and transform, and scikit-learn warns of that.
@pytest.mark.filterwarnings("ignore:X does not have valid feature names", "ignore:X has feature names")
@pytest.mark.parametrize("estimator", BRIEF, ids=repr)
@pytest.mark.parametrize("check", LEFT_OUT)
def test_scikit_learn_check_that_is_left_out(check, estimator):
    getattr(estimator_checks, check)(type(estimator).__name__, estimator)


def test_default_classifier_passes_the_check_that_judges_its_predictions():
    estimator_checks.check_classifiers_train("VAEClassifier", CLASSIFIERS[0])


@pytest.mark.parametrize("estimator", CLASSIFIERS if IS_LONG else CLASSIFIERS[1:], ids=repr)
def test_classifier_classes_of_scikit_learn_without_minus_one(estimator):
    """Run the test of check_classifiers_classes with classes that do not include -1, the label of unlabelled rows."""
    # A name for which the check leaves the labels -1 and 1 out.
    estimator_checks.check_classifiers_classes("LabelSpreading", estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_no_check_is_skipped(estimator):
    """Tags that would switch checks off are at their defaults; NaN are missing cells."""
    tags = estimator.__sklearn_tags__()
    assert not tags.non_deterministic and not tags.no_validation and tags.input_tags.allow_nan
    assert tags.input_tags.sparse == (estimator not in IMPUTERS)
    assert tags.transformer_tags.preserves_dtype == ["float64", "float32"] and not tags._skip_test
    assert tags.estimator_type == ("classifier" if estimator in CLASSIFIERS else None)
    if estimator in CLASSIFIERS:
        assert tags.target_tags.required and tags.classifier_tags.multi_class and not tags.classifier_tags.poor_score
        assert not tags.classifier_tags.multi_label and not tags.target_tags.multi_output
