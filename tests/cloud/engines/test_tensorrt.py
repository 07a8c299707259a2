"""What TensorRT is told, as far as that can be checked without one."""

from pathlib import Path

import pytest

from isthmus import ConfigError, ModelError
from isthmus_cloud.engines.tensorrt import engine_cache, options_of, profile_of

TAIL = Path("tail-0.onnx")


def test_one_engine_is_built_for_all_batch_sizes() -> None:
    shapes = {"boundary": ("N", 8, 16), "boundary/step": ("N",), "last": (4, None), "rate": ()}
    assert profile_of(TAIL, shapes, largest_batch=32) == {
        "trt_profile_min_shapes": "boundary:1x8x16,boundary/step:1,last:4x1",
        "trt_profile_opt_shapes": "boundary:8x8x16,boundary/step:8,last:4x8",
        "trt_profile_max_shapes": "boundary:32x8x16,boundary/step:32,last:4x32",
    }
    assert "opt_shapes': 'x:4'" in str(profile_of(TAIL, {"x": ("N",)}, largest_batch=4))


def test_a_graph_for_one_item_needs_no_profile() -> None:
    assert profile_of(TAIL, {"x": (1, 8), "rate": ()}, largest_batch=32) == {}


@pytest.mark.parametrize("name", ["scope:0", "a,b"])
def test_names_that_its_notation_has_no_form_for_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match=f"input named '{name}'; choose the provider 'cuda'"):
        profile_of(TAIL, {name: ("N",)}, largest_batch=32)


def test_engines_are_kept_where_only_this_user_writes(tmp_path: Path) -> None:
    folder = engine_cache({"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert folder == tmp_path / "cache/isthmus/tensorrt"
    assert folder.stat().st_mode & 0o077 == 0
    assert engine_cache({"XDG_CACHE_HOME": str(tmp_path / "cache")}) == folder
    options = options_of(folder, "fp16")
    assert options["trt_engine_cache_path"] == str(folder)
    assert (options["trt_fp16_enable"], options_of(folder, "")["trt_fp16_enable"]) == ("1", "0")


def test_where_engines_cannot_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(ConfigError, match=r"cannot be kept .*XDG_CACHE_HOME"):
        engine_cache({"XDG_CACHE_HOME": str(tmp_path / "cache")})
