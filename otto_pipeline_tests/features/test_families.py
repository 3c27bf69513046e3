from otto_pipeline.features.families import FAMILIES, source_features
from otto_pipeline.features.table import FEATURES
from otto_pipeline.retrieval.sources import SOURCES


def test_every_feature_is_in_one_family_beside_the_kinds_of_similarity() -> None:
    in_families = [
        feature.name
        for name, features in FAMILIES.items()
        if not name.startswith("similarity-")
        for feature in features
    ]
    assert sorted(in_families) == sorted(feature.name for feature in FEATURES)


def test_kinds_of_similarity_divide_similarity() -> None:
    kinds = [
        feature.name
        for name, features in FAMILIES.items()
        if name.startswith("similarity-")
        for feature in features
    ]
    assert sorted(kinds) == sorted(feature.name for feature in FAMILIES["similarity"])


def test_features_of_sources_are_ranks_and_similarities() -> None:
    of_sources = [feature.name for source in SOURCES for feature in source_features(source)]
    families = ("source-ranks", "similarity")
    wanted = {feature.name for name in families for feature in FAMILIES[name]}
    assert sorted(of_sources) == sorted(wanted - {"sources"})
