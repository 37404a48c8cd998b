"""The Hugging Face pipeline tags that a use case may name.

Source: huggingface.js packages/tasks/src/pipelines.ts at fe42e68, 57 tags. `conversational` and
`text2text-generation` are no longer among them: both are `text-generation` now.
"""

_NLP = """
text-classification token-classification table-question-answering question-answering
zero-shot-classification translation summarization feature-extraction text-generation fill-mask
sentence-similarity table-to-text multiple-choice text-ranking text-retrieval
"""
_MULTIMODAL = """
audio-text-to-text image-text-to-text image-text-to-image image-text-to-video
visual-question-answering document-question-answering video-text-to-text visual-document-retrieval
any-to-any
"""
_AUDIO = """
text-to-speech text-to-audio automatic-speech-recognition audio-to-audio audio-classification
voice-activity-detection
"""
_VISION = """
depth-estimation image-classification object-detection image-segmentation text-to-image
image-to-text image-to-image image-to-video unconditional-image-generation video-classification
text-to-video video-to-video zero-shot-image-classification mask-generation
zero-shot-object-detection text-to-3d image-to-3d image-feature-extraction keypoint-detection
"""
_OTHER = """
reinforcement-learning robotics tabular-classification tabular-regression tabular-to-text
time-series-forecasting graph-ml other
"""

PIPELINE_TAGS: frozenset[str] = frozenset(
    " ".join((_NLP, _MULTIMODAL, _AUDIO, _VISION, _OTHER)).split()
)
