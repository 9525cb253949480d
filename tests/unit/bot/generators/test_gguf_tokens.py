"""Control tokens and the chat template are read from GGUF files that the library wrote."""

from __future__ import annotations

import gguf
import pytest

from bot.generators.gguf_tokens import control_tokens


def written(path, template: str | None = "{{ '<tool>' }}"):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list(["a", "[|user|]", "<tool>", "<gone>"])
    writer.add_token_types([1, 3, 4, 4])
    writer.add_array("other", [1.5, 2.5])
    if template is not None:
        writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_control_tokens_count_and_others_where_the_template_names_them(tmp_path):
    assert control_tokens(written(tmp_path / "m.gguf")) == ({"[|user|]", "<tool>"}, "{{ '<tool>' }}")


def test_a_file_without_a_template_has_its_control_tokens(tmp_path):
    assert control_tokens(written(tmp_path / "m.gguf", None)) == ({"[|user|]"}, "")


@pytest.mark.parametrize("n_bytes", [0, 3, 20, 60, 100])
def test_a_damaged_file_is_named(tmp_path, n_bytes):
    path = written(tmp_path / "m.gguf")
    path.write_bytes(path.read_bytes()[:n_bytes])

    with pytest.raises(ValueError, match=r"m\.gguf"):
        control_tokens(path)
