"""All exceptions that the library raises on purpose.

An ingest does not raise for bad data: the file becomes a row of ``files`` with a reason. These
errors report wrong calls, and a store that does not conform to its layout. No message contains a
value of a patient's header. The class hierarchy::

    WarehouseError
    ├── SourceError        a file outside the warehouse cannot be used
    │   ├── SourceNotFound     a path given by the caller does not exist
    │   ├── BucketUnreachable  a bucket cannot be listed
    │   ├── NotAsIngested      a known source is missing or has changed
    │   └── Rejected           a file cannot be parsed (its reason is stored, never fatal)
    │       ├── TooMuch            the file exceeds a limit of the settings
    │       └── Unreachable        the file could not be opened or read; the next ingest retries
    ├── UsageError         an argument is invalid
    │   ├── UnknownMode
    │   ├── UnknownFilter      a condition has an unknown attribute or unsupported operator
    │   ├── UnknownCohort      no cohort and no run has that name
    │   ├── UnknownParameter
    │   ├── UnsafeCohort       the SQL of a cohort is not one SELECT over the warehouse
    │   ├── CohortStopped      the SQL of a cohort exceeded its limit of time or memory
    │   ├── MembersUnclear     the rows of a cohort have no key of an entity
    │   ├── SourcesVanished    no known file of a source exists, as if it were not mounted
    │   ├── TargetExists       a file or folder of that name exists
    │   ├── NotInstalled       a package of an extra is not installed
    │   ├── AlgorithmError     an artifact, an algorithm or a job is invalid
    │   │   ├── UnknownAlgorithm
    │   │   ├── UnknownJob
    │   │   ├── UnknownJobState
    │   │   ├── UnknownArtifact
    │   │   ├── ArchiveRefused     an archive is not a valid image or model
    │   │   ├── JobRefused         a job exists already, or there are too many
    │   │   ├── TransitionRefused  the state of a job does not allow the event
    │   │   ├── OutputRefused      outputs of an algorithm are invalid for their sockets
    │   │   ├── EngineMissing      no container engine is installed, or it does not work
    │   │   └── RunLocked          another process runs jobs of the same algorithm
    │   └── ComponentError     a socket, a value or a set of values is invalid
    │       ├── UnknownKind
    │       ├── UnknownSocket
    │       ├── UnknownValue
    │       ├── SocketRefused      the definition of a socket is invalid
    │       ├── SchemaRefused      its JSON Schema is invalid, or refers to something outside of it
    │       └── ValueRefused       a value is invalid for its socket; has the JSON path
    │           └── ImageRefused       a file is not an image of the kind of its socket
    ├── StoreError         the store does not conform to its layout
    │   ├── NotAWarehouse
    │   ├── LayoutMismatch
    │   ├── StoreDamaged       files of the store differ from what was committed
    │   ├── StoreUnreadable    permissions do not allow reading a file of the store
    │   ├── UnknownVersion     the version does not exist, or no longer
    │   ├── LockIgnored        another writer committed despite the lock
    │   ├── Outrun             another writer published to a bucket at the same time
    │   ├── KeyTaken           rows to append have the key of other rows
    │   ├── NothingToForget    the entity to forget or allow is unknown
    │   ├── RebuildNeeded      what to forget has a key that others may share until a rebuild
    │   ├── WritersRunning     an operation needs exclusive access, and a writer is running
    │   └── WriteFailed        no space or no permission; nothing was committed
    ├── CatalogError       a model in sql/, or a query, is wrong
    │   ├── ModelError         header and SQL of a model disagree, or models form a cycle
    │   ├── UnknownTable
    │   └── QueryFailed
    ├── WorkerError        worker processes cannot read files
    │   ├── SchedulerUnreachable   no Dask scheduler answers at that address
    │   ├── WorkersLost            a process died while reading; its batch was not committed
    │   ├── DeidentifierLost       a process died while writing files of an export
    │   ├── WrongMachine           a worker has another folder at the path of the warehouse
    │   └── ReadingFailed          reading fails for a known good file, too
    ├── DerivedError       the content of a derived object cannot be returned as requested
    │   ├── WrongObject        a series is of another kind, or has several objects
    │   ├── NotInGeometry      an object is not on the requested grid; has the difference
    │   ├── SegmentsOverlap    segments share voxels, so they are not one label map
    │   └── UnknownPart        no segment, region or beam has that number
    ├── NetworkError       a local port or a remote application entity cannot be used
    │   ├── CannotListen       the port is in use or not permitted
    │   ├── SpoolInUse         another listener writes to the folder
    │   └── PeerFailed         it did not answer, refused, or failed
    ├── ExportFailed       an output cannot be written, or a source file has changed
    ├── NotDeidentified    an instance cannot be de-identified with certainty; it is left out
    ├── InstanceNotFound   no instance has that UID, and no file has that path
    ├── SeriesNotFound     no series has that UID
    ├── ValueNotFound      no value has that digest, or its source file is missing
    └── PixelError         pixels cannot be returned as requested
        ├── NoPixels           no instance of the series has pixel data
        ├── NotAVolume         the frames of a series are not a regular grid; has the reason
        ├── NoGradients        the diffusion weighting of a series is unknown; has the reason
        ├── SourceChanged      a source file was moved, truncated or replaced since its ingest
        ├── NotReferable       voxels cannot be referred to in their source files
        ├── PixelsUnreadable   the pixel data of a file are damaged, or contradict the header
        ├── NoSingleUnit       values have no common unit, or several mappings
        ├── ArrayTooLarge      there is not enough memory for the requested array or frame
        └── NoDecoder          no installed decoder supports the transfer syntax
"""

from __future__ import annotations

from warehouse.errors.calls import (
    BucketUnreachable,
    CohortStopped,
    MembersUnclear,
    NotAsIngested,
    NotInstalled,
    Rejected,
    SourceError,
    SourceNotFound,
    SourcesVanished,
    TargetExists,
    TooMuch,
    UnknownCohort,
    UnknownFilter,
    UnknownMode,
    UnknownParameter,
    Unreachable,
    UnsafeCohort,
    UsageError,
)
from warehouse.errors.components import (
    ComponentError,
    ImageRefused,
    SchemaRefused,
    SocketRefused,
    UnknownKind,
    UnknownSocket,
    UnknownValue,
    ValueRefused,
)
from warehouse.errors.deidentify import DeidentifierLost, NotDeidentified
from warehouse.errors.derived import (
    DerivedError,
    NotInGeometry,
    SegmentsOverlap,
    UnknownPart,
    WrongObject,
)
from warehouse.errors.jobs import (
    AlgorithmError,
    ArchiveRefused,
    EngineMissing,
    JobRefused,
    OutputRefused,
    RunLocked,
    TransitionRefused,
    UnknownAlgorithm,
    UnknownArtifact,
    UnknownJob,
    UnknownJobState,
)
from warehouse.errors.network import (
    CannotListen,
    NetworkError,
    PeerFailed,
    SpoolInUse,
)
from warehouse.errors.pixels import (
    ArrayTooLarge,
    NoDecoder,
    NoGradients,
    NoPixels,
    NoSingleUnit,
    NotAVolume,
    NotReferable,
    PixelError,
    PixelsUnreadable,
    SourceChanged,
)
from warehouse.errors.questions import (
    CatalogError,
    ExportFailed,
    InstanceNotFound,
    ModelError,
    QueryFailed,
    SeriesNotFound,
    UnknownTable,
    ValueNotFound,
)
from warehouse.errors.root import (
    WarehouseError,
    cause_of,
)
from warehouse.errors.store import (
    KeyTaken,
    LayoutMismatch,
    LockIgnored,
    NotAWarehouse,
    NothingToForget,
    Outrun,
    ReadingFailed,
    RebuildNeeded,
    SchedulerUnreachable,
    StoreDamaged,
    StoreError,
    StoreUnreadable,
    UnknownVersion,
    WorkerError,
    WorkersLost,
    WriteFailed,
    WritersRunning,
    WrongMachine,
    stopped,
)

__all__ = [
    "AlgorithmError",
    "ArchiveRefused",
    "ArrayTooLarge",
    "BucketUnreachable",
    "CannotListen",
    "CatalogError",
    "CohortStopped",
    "ComponentError",
    "DeidentifierLost",
    "DerivedError",
    "EngineMissing",
    "ExportFailed",
    "ImageRefused",
    "InstanceNotFound",
    "JobRefused",
    "KeyTaken",
    "LayoutMismatch",
    "LockIgnored",
    "MembersUnclear",
    "ModelError",
    "NetworkError",
    "NoDecoder",
    "NoGradients",
    "NoPixels",
    "NoSingleUnit",
    "NotAVolume",
    "NotAWarehouse",
    "NotAsIngested",
    "NotDeidentified",
    "NotInGeometry",
    "NotInstalled",
    "NotReferable",
    "NothingToForget",
    "OutputRefused",
    "Outrun",
    "PeerFailed",
    "PixelError",
    "PixelsUnreadable",
    "QueryFailed",
    "ReadingFailed",
    "RebuildNeeded",
    "Rejected",
    "RunLocked",
    "SchedulerUnreachable",
    "SchemaRefused",
    "SegmentsOverlap",
    "SeriesNotFound",
    "SocketRefused",
    "SourceChanged",
    "SourceError",
    "SourceNotFound",
    "SourcesVanished",
    "SpoolInUse",
    "StoreDamaged",
    "StoreError",
    "StoreUnreadable",
    "TargetExists",
    "TooMuch",
    "TransitionRefused",
    "UnknownAlgorithm",
    "UnknownArtifact",
    "UnknownCohort",
    "UnknownFilter",
    "UnknownJob",
    "UnknownJobState",
    "UnknownKind",
    "UnknownMode",
    "UnknownParameter",
    "UnknownPart",
    "UnknownSocket",
    "UnknownTable",
    "UnknownValue",
    "UnknownVersion",
    "Unreachable",
    "UnsafeCohort",
    "UsageError",
    "ValueNotFound",
    "ValueRefused",
    "WarehouseError",
    "WorkerError",
    "WorkersLost",
    "WriteFailed",
    "WritersRunning",
    "WrongMachine",
    "WrongObject",
    "cause_of",
    "stopped",
]
