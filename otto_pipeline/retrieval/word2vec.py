"""word2vec: sessions as sentences, items as words; gensim learns."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.embedding import Word2Vec
from otto_pipeline.retrieval.sentences import write_sentences
from otto_pipeline.settings import extra


def word2vec(log: EventLog, spec: Word2Vec, threads: int, seed: int, scratch: Path) -> NDArray:
    """Vectors of all items, n_items × dimensions f32; zeros where an item is in no sentence.

    The sentences are written to a file in `scratch` (about 7 bytes an event): gensim's threads
    read it without the interpreter lock, several times as fast as sentences from Python.
    """
    with extra("embeddings", f"OTTO_EMBEDDINGS={spec.name}"):
        from gensim.models import Word2Vec as Model  # noqa: PLC0415  # seconds of import

    vectors = np.zeros((log.n_items, spec.dimensions), np.float32)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        sentences = Path(folder) / "sentences.txt"
        if write_sentences(log, spec.last_days, sentences) == 0:
            return vectors
        model = Model(
            corpus_file=str(sentences),
            vector_size=spec.dimensions,
            window=spec.window,
            min_count=1,
            sg=1,
            negative=spec.negative,
            ns_exponent=spec.ns_exponent,
            sample=spec.sample,
            epochs=spec.epochs,
            seed=seed,
            workers=threads,
        )
    vectors[np.array(model.wv.index_to_key, np.int64)] = model.wv.vectors
    return vectors
