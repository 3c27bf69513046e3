import pytest

from otto_pipeline.retrieval.embedding import Als
from otto_pipeline.retrieval.embeddings import CATALOGUE, chosen
from otto_pipeline.settings import SettingsError


def test_chosen_embeddings_are_in_the_order_of_the_catalogue() -> None:
    names = [embedding.name for embedding in CATALOGUE]
    assert [one.name for one in chosen(names[::-1])] == names
    assert chosen(["all"]) == CATALOGUE


def test_none_are_no_embeddings() -> None:
    assert chosen(["none"]) == ()


@pytest.mark.parametrize("names", [["spectrum"], [], ["none", "als"]])
def test_names_that_are_no_choice_are_refused(names: list[str]) -> None:
    with pytest.raises(SettingsError, match=r"OTTO_EMBEDDINGS=.*choose from .*, or all, or none"):
        chosen(names)


@pytest.mark.parametrize("name", ["history", "Als", "a b"])
def test_names_that_columns_cannot_have_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="its name must be"):
        Als(name, "test", 8)


def test_a_vector_without_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="dimensions must be 1 or more"):
        Als("als_0", "test", 0)
