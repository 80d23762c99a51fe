"""An object store in memory, behind Arrow's interface, that can be told to fail."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyarrow import fs

from jobs.object_folder import ObjectFolder


@dataclass
class FakeStore(fs.FileSystemHandler):
    """`objects` by path. `fail` is called with an action and a path before (`put`, `read`, `list`,
    `delete`) and after (`stored`) each of them, and may raise.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    fail: Callable[[str, str], None] = lambda _action, _path: None

    def __hash__(self) -> int:
        return id(self)

    def folder(self, prefix: str = "bucket/prefix") -> ObjectFolder:
        return ObjectFolder(fs.PyFileSystem(self), prefix, f"s3://{prefix}")

    def get_type_name(self) -> str:
        return "fake"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return [self._info(path) for path in paths]

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        self.fail("list", selector.base_dir)
        prefix = f"{selector.base_dir}/"
        below = [path.removeprefix(prefix) for path in self.objects if path.startswith(prefix)]
        names = {name.partition("/")[0] for name in below}
        return [self._info(prefix + name) for name in sorted(names)]

    def open_input_stream(self, path: str) -> Any:
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> Any:
        self.fail("read", path)
        if path not in self.objects:
            raise FileNotFoundError(path)
        return pa.BufferReader(self.objects[path])

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        return pa.PythonFile(_Upload(self, path), mode="w")

    def delete_file(self, path: str) -> None:
        self.fail("delete", path)
        if self.objects.pop(path, None) is None:
            raise FileNotFoundError(path)

    def delete_dir(self, path: str) -> None:
        for name in [name for name in self.objects if name.startswith(f"{path}/")]:
            del self.objects[name]

    def move(self, src: str, dest: str) -> None:
        self.objects[dest] = self.objects.pop(src)

    def _info(self, path: str) -> fs.FileInfo:
        if path in self.objects:
            return fs.FileInfo(path, fs.FileType.File, size=len(self.objects[path]))
        is_folder = any(name.startswith(f"{path}/") for name in self.objects)
        return fs.FileInfo(path, fs.FileType.Directory if is_folder else fs.FileType.NotFound)

    def _unused(self, *_: Any) -> Any:
        raise NotImplementedError

    create_dir = delete_dir_contents = delete_root_dir_contents = _unused
    copy_file = open_append_stream = _unused


class _Upload(io.BytesIO):
    """Becomes an object when it is closed."""

    def __init__(self, store: FakeStore, path: str) -> None:
        super().__init__()
        self._store, self._path = store, path

    def close(self) -> None:
        if self.closed:
            return
        data = self.getvalue()
        super().close()
        self._store.fail("put", self._path)
        self._store.objects[self._path] = data
        self._store.fail("stored", self._path)
