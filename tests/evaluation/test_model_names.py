from __future__ import annotations

import pytest

from zoovet.evaluation.model_names import model_key, model_name


def scalegmn(**config):
    return {"kind": "scalegmn", "config": config}


@pytest.mark.parametrize(
    ("metanetwork", "canonicalized", "key", "name"),
    [
        (scalegmn(direction="forward", symmetry="mixed"), False, "scalegmn", "ScaleGMN"),
        (scalegmn(direction="bidirectional", symmetry="sign"), False, "scalegmn", "ScaleGMN-B"),
        (scalegmn(), True, "scalegmn_canonicalized", "ScaleGMN-B, canonicalized"),
        (scalegmn(direction="forward", symmetry="permutation"), False, "permutation", "permutation only"),
        (scalegmn(symmetry="permutation"), True, "permutation_canonicalized", "permutation only, bidirectional, canon"),
        ({"kind": "flat_mlp", "config": {}}, False, "mlp", "MLP on flat weights"),
        ({"kind": "transformer", "config": {}}, False, "transformer", "transformer"),
    ],
)
def test_a_model_is_called_what_its_configuration_says(metanetwork, canonicalized, key, name):
    assert model_key(metanetwork, canonicalized=canonicalized) == key
    assert model_name(metanetwork, canonicalized=canonicalized).startswith(name)
