import pytest

from tfaot.errors import ModelError, UsageError
from tfaot.frontend.messages import essential_line, last_words, nodes_named, translated


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("plain words", "plain words"),
        ("\nTraceback (most recent call last):\n  File 'x'\nthe cause", "the cause"),
        (
            "Error when deserializing\n\nException encountered: outer\n\n"
            "Exception encountered: Could not locate class 'A'.\n",
            "Could not locate class 'A'.",
        ),
        (
            "Graph execution error:\n\nDetected at node x\n<stack traces unavailable>\n"
            "indices[0] = -1",
            "indices[0] = -1",
        ),
        ("\x1b[1mInput 0 does not fit\x1b[0m", "Input 0 does not fit"),
        ("INVALID_ARGUMENT: bad shape [[{{node a/b}}]]", "bad shape"),
        (
            "Input 1 must be constant.\n\ttf2xla conversion failed while converting f. "
            "Run with TF_DUMP_GRAPH_PREFIX=/x",
            "Input 1 must be constant.",
        ),
    ],
)
def test_the_cause_is_found(message, expected):
    assert essential_line(ValueError(message)) == expected


def test_the_line_is_one_and_short():
    line = essential_line(ValueError("word " * 500 + "\nmore"))
    assert "\n" not in line
    assert len(line) <= 300


def test_an_error_without_text_gives_its_class():
    assert essential_line(ValueError()) == "ValueError"


def test_a_missing_key_says_so():
    assert essential_line(KeyError("weights")) == "weights is missing"


def test_nodes_are_found_once_in_order():
    assert nodes_named("{{node a/b}} and {{node c}}, {{node a/b}}") == ("a/b", "c")


def test_last_words_prefer_the_fatal_message():
    stderr = (
        "I0000 00:00:1 1 a.cc:1] hello\n"
        "F0000 00:00:1 1 parse_flags.cc:2] Unknown flag in XLA_FLAGS: --xla_x\n"
        "*** Check failure stack trace: ***\n    @ 0x1 main\n"
    )
    assert last_words(stderr) == "Unknown flag in XLA_FLAGS: --xla_x"
    assert last_words("I0000 1] only information\n") == ""


def test_own_errors_pass_unchanged_and_others_are_translated():
    with pytest.raises(UsageError, match=r"^mine$"), translated(ModelError, "what"):
        raise UsageError("mine")
    with pytest.raises(ModelError, match=r"^what: theirs$"), translated(ModelError, "what"):
        raise OSError("theirs\nmore")
