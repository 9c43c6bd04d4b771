import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ItemKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ITEM_KIND_UNSPECIFIED: _ClassVar[ItemKind]
    ITEM_KIND_SERIES: _ClassVar[ItemKind]
    ITEM_KIND_EPISODE: _ClassVar[ItemKind]
ITEM_KIND_UNSPECIFIED: ItemKind
ITEM_KIND_SERIES: ItemKind
ITEM_KIND_EPISODE: ItemKind

class GetVideoMetadataRequest(_message.Message):
    __slots__ = ("video_id",)
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    def __init__(self, video_id: _Optional[str] = ...) -> None: ...

class GetVideoMetadataResponse(_message.Message):
    __slots__ = ("id", "title", "description", "duration_seconds", "owner_id", "published_at", "visibility", "tags", "thumbnails", "stats")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    DURATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_AT_FIELD_NUMBER: _ClassVar[int]
    VISIBILITY_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    THUMBNAILS_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    description: str
    duration_seconds: int
    owner_id: str
    published_at: _timestamp_pb2.Timestamp
    visibility: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    thumbnails: _containers.RepeatedCompositeFieldContainer[Thumbnail]
    stats: VideoStats
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., duration_seconds: _Optional[int] = ..., owner_id: _Optional[str] = ..., published_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., visibility: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., thumbnails: _Optional[_Iterable[_Union[Thumbnail, _Mapping]]] = ..., stats: _Optional[_Union[VideoStats, _Mapping]] = ...) -> None: ...

class Thumbnail(_message.Message):
    __slots__ = ("url", "width", "height")
    URL_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    url: str
    width: int
    height: int
    def __init__(self, url: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class VideoStats(_message.Message):
    __slots__ = ("views", "likes", "comments")
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    LIKES_FIELD_NUMBER: _ClassVar[int]
    COMMENTS_FIELD_NUMBER: _ClassVar[int]
    views: int
    likes: int
    comments: int
    def __init__(self, views: _Optional[int] = ..., likes: _Optional[int] = ..., comments: _Optional[int] = ...) -> None: ...

class CatalogSnapshotRequest(_message.Message):
    __slots__ = ("cursor", "limit", "at_least")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    limit: int
    at_least: str
    def __init__(self, cursor: _Optional[str] = ..., limit: _Optional[int] = ..., at_least: _Optional[str] = ...) -> None: ...

class CatalogSnapshotChunk(_message.Message):
    __slots__ = ("items", "next_cursor", "removed", "position", "summary")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[CatalogFeedItem]
    next_cursor: str
    removed: _containers.RepeatedCompositeFieldContainer[RemovedItem]
    position: str
    summary: CatalogSummary
    def __init__(self, items: _Optional[_Iterable[_Union[CatalogFeedItem, _Mapping]]] = ..., next_cursor: _Optional[str] = ..., removed: _Optional[_Iterable[_Union[RemovedItem, _Mapping]]] = ..., position: _Optional[str] = ..., summary: _Optional[_Union[CatalogSummary, _Mapping]] = ...) -> None: ...

class RemovedItem(_message.Message):
    __slots__ = ("kind", "id", "version", "event_id")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    kind: ItemKind
    id: str
    version: int
    event_id: str
    def __init__(self, kind: _Optional[_Union[ItemKind, str]] = ..., id: _Optional[str] = ..., version: _Optional[int] = ..., event_id: _Optional[str] = ...) -> None: ...

class CatalogSummary(_message.Message):
    __slots__ = ("series", "episodes", "digest")
    SERIES_FIELD_NUMBER: _ClassVar[int]
    EPISODES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    series: int
    episodes: int
    digest: int
    def __init__(self, series: _Optional[int] = ..., episodes: _Optional[int] = ..., digest: _Optional[int] = ...) -> None: ...

class CatalogFeedItem(_message.Message):
    __slots__ = ("kind", "id", "version", "event_id", "slug", "title", "tags", "synopsis", "hero_image_url", "default_thumbnail_url", "duration_seconds", "published_at", "availability", "season", "series", "playback", "localization", "ratings")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    SLUG_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    SYNOPSIS_FIELD_NUMBER: _ClassVar[int]
    HERO_IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_THUMBNAIL_URL_FIELD_NUMBER: _ClassVar[int]
    DURATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_AT_FIELD_NUMBER: _ClassVar[int]
    AVAILABILITY_FIELD_NUMBER: _ClassVar[int]
    SEASON_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    PLAYBACK_FIELD_NUMBER: _ClassVar[int]
    LOCALIZATION_FIELD_NUMBER: _ClassVar[int]
    RATINGS_FIELD_NUMBER: _ClassVar[int]
    kind: ItemKind
    id: str
    version: int
    event_id: str
    slug: str
    title: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    synopsis: str
    hero_image_url: str
    default_thumbnail_url: str
    duration_seconds: int
    published_at: _timestamp_pb2.Timestamp
    availability: Availability
    season: Season
    series: Series
    playback: Playback
    localization: Localization
    ratings: Ratings
    def __init__(self, kind: _Optional[_Union[ItemKind, str]] = ..., id: _Optional[str] = ..., version: _Optional[int] = ..., event_id: _Optional[str] = ..., slug: _Optional[str] = ..., title: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., synopsis: _Optional[str] = ..., hero_image_url: _Optional[str] = ..., default_thumbnail_url: _Optional[str] = ..., duration_seconds: _Optional[int] = ..., published_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., availability: _Optional[_Union[Availability, _Mapping]] = ..., season: _Optional[_Union[Season, _Mapping]] = ..., series: _Optional[_Union[Series, _Mapping]] = ..., playback: _Optional[_Union[Playback, _Mapping]] = ..., localization: _Optional[_Union[Localization, _Mapping]] = ..., ratings: _Optional[_Union[Ratings, _Mapping]] = ...) -> None: ...

class Availability(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    def __init__(self, start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Season(_message.Message):
    __slots__ = ("id", "sequence_number", "title")
    ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    id: str
    sequence_number: int
    title: str
    def __init__(self, id: _Optional[str] = ..., sequence_number: _Optional[int] = ..., title: _Optional[str] = ...) -> None: ...

class Series(_message.Message):
    __slots__ = ("id", "slug", "title", "synopsis", "hero_image_url", "banner_image_url", "category", "release_date")
    ID_FIELD_NUMBER: _ClassVar[int]
    SLUG_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    SYNOPSIS_FIELD_NUMBER: _ClassVar[int]
    HERO_IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    BANNER_IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    RELEASE_DATE_FIELD_NUMBER: _ClassVar[int]
    id: str
    slug: str
    title: str
    synopsis: str
    hero_image_url: str
    banner_image_url: str
    category: Category
    release_date: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., slug: _Optional[str] = ..., title: _Optional[str] = ..., synopsis: _Optional[str] = ..., hero_image_url: _Optional[str] = ..., banner_image_url: _Optional[str] = ..., category: _Optional[_Union[Category, _Mapping]] = ..., release_date: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Category(_message.Message):
    __slots__ = ("id", "slug", "name")
    ID_FIELD_NUMBER: _ClassVar[int]
    SLUG_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    id: str
    slug: str
    name: str
    def __init__(self, id: _Optional[str] = ..., slug: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Playback(_message.Message):
    __slots__ = ("status", "manifest_url", "default_thumbnail_url", "variants")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_URL_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_THUMBNAIL_URL_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    status: str
    manifest_url: str
    default_thumbnail_url: str
    variants: _containers.RepeatedCompositeFieldContainer[Variant]
    def __init__(self, status: _Optional[str] = ..., manifest_url: _Optional[str] = ..., default_thumbnail_url: _Optional[str] = ..., variants: _Optional[_Iterable[_Union[Variant, _Mapping]]] = ...) -> None: ...

class Variant(_message.Message):
    __slots__ = ("label", "width", "height", "bitrate_kbps", "codec", "frame_rate")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    BITRATE_KBPS_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    FRAME_RATE_FIELD_NUMBER: _ClassVar[int]
    label: str
    width: int
    height: int
    bitrate_kbps: int
    codec: str
    frame_rate: float
    def __init__(self, label: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., bitrate_kbps: _Optional[int] = ..., codec: _Optional[str] = ..., frame_rate: _Optional[float] = ...) -> None: ...

class Localization(_message.Message):
    __slots__ = ("captions", "available_languages")
    CAPTIONS_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    captions: _containers.RepeatedCompositeFieldContainer[Caption]
    available_languages: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, captions: _Optional[_Iterable[_Union[Caption, _Mapping]]] = ..., available_languages: _Optional[_Iterable[str]] = ...) -> None: ...

class Caption(_message.Message):
    __slots__ = ("language", "label", "url")
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    language: str
    label: str
    url: str
    def __init__(self, language: _Optional[str] = ..., label: _Optional[str] = ..., url: _Optional[str] = ...) -> None: ...

class Ratings(_message.Message):
    __slots__ = ("average",)
    AVERAGE_FIELD_NUMBER: _ClassVar[int]
    average: float
    def __init__(self, average: _Optional[float] = ...) -> None: ...
