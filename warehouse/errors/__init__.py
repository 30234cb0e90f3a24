"""All exceptions that the library raises on purpose.

Bad data never raises out of an ingest: it becomes a row of ``files`` with a reason. These errors
are for wrong calls and for a store that is not what its layout promises. No message contains a
value of a patient's header. Who inherits from whom::

    WarehouseError
    ├── SourceError        a file outside the warehouse cannot be used
    │   ├── SourceNotFound     a path given by the caller does not exist
    │   ├── BucketUnreachable  a bucket cannot be listed
    │   ├── NotAsIngested      a known source is gone or has changed
    │   └── Rejected           this file cannot become rows (kept as a reason, never fatal)
    │       ├── TooMuch            it is beyond a limit of the settings
    │       └── Unreachable        it could not be read this time; the next ingest tries again
    ├── UsageError         an argument has no meaning here
    │   ├── UnknownMode
    │   ├── UnknownFilter      a condition names no attribute, or means nothing for its type
    │   ├── UnknownCohort      no cohort, or no run of one, has that name
    │   ├── UnknownParameter
    │   ├── UnsafeCohort       the SQL of a cohort is not one SELECT over the warehouse
    │   ├── CohortStopped      the SQL of a cohort took more time or memory than it may
    │   ├── MembersUnclear     the rows of a cohort do not say which entities are members
    │   ├── SourcesVanished    all files of a source are gone, as if it were not mounted
    │   ├── TargetExists       what is written never replaces a file
    │   ├── NotInstalled       it needs a package of an extra
    │   ├── AlgorithmError     an artifact, an algorithm or a job is not as it has to be
    │   │   ├── UnknownAlgorithm
    │   │   ├── UnknownJob
    │   │   ├── UnknownJobState
    │   │   ├── UnknownArtifact
    │   │   ├── ArchiveRefused     an archive is no image or model that can be run
    │   │   ├── JobRefused         a job is there already, or there are too many
    │   │   ├── TransitionRefused  a job is in a state in which that cannot happen
    │   │   ├── OutputRefused      what an algorithm left is not what its sockets take
    │   │   ├── EngineMissing      a program that runs containers does not run here
    │   │   └── RunLocked          somebody else is running jobs of the same algorithm
    │   └── ComponentError     a socket, a value or a set of values is not as it has to be
    │       ├── UnknownKind
    │       ├── UnknownSocket
    │       ├── UnknownValue
    │       ├── SocketRefused      a socket breaks a rule
    │       ├── SchemaRefused      its JSON Schema is not valid, or reads what is outside of it
    │       └── ValueRefused       a value is not what its socket takes; says the JSON path
    │           └── ImageRefused       a file is no image that the socket takes
    ├── StoreError         the folder is not the store that its layout promises
    │   ├── NotAWarehouse
    │   ├── LayoutMismatch
    │   ├── StoreDamaged       files of the store are gone, cut, garbled or not its own
    │   ├── UnknownVersion     there is no such version, or no longer
    │   ├── LockIgnored        two writers committed at once; the second one was refused
    │   ├── Outrun             another writer published to a bucket at the same time
    │   ├── KeyTaken           rows to append have the key of other rows
    │   ├── NothingToForget    what is to be forgotten is not known
    │   ├── WritersRunning     something must be done while nobody writes
    │   └── WriteFailed        no space, no permission: nothing was committed
    ├── CatalogError       a model in sql/ or a question asked of the catalog is wrong
    │   ├── ModelError         header and SQL of a model disagree, or models form a cycle
    │   ├── UnknownTable
    │   └── QueryFailed
    ├── WorkerError        files are read elsewhere, and there is something wrong
    │   ├── SchedulerUnreachable   no Dask scheduler answers at that address
    │   ├── WorkersLost            a process that read is gone; nothing of its batch was committed
    │   ├── DeidentifierLost       a process that wrote files of an export is gone
    │   ├── WrongMachine           a worker sees another folder where the warehouse should be
    │   └── ReadingFailed          no file can be read here, not even one that is known to be good
    ├── DerivedError       what a derived object says cannot be had as asked
    │   ├── WrongObject        a series is not of the kind asked for, or of several objects
    │   ├── NotInGeometry      an object does not lie on the grid asked for; says how it differs
    │   ├── SegmentsOverlap    segments share voxels: no label map holds them
    │   └── UnknownPart        no segment, region or beam of that number
    ├── NetworkError       a port, or a DICOM application entity elsewhere, cannot be used
    │   ├── CannotListen       the port is taken, or not allowed
    │   ├── SpoolInUse         another listener receives into the folder
    │   └── PeerFailed         it did not answer, refused, or could not
    ├── ExportFailed       an output cannot be written, or a source of it is not what it was
    ├── NotDeidentified    an instance cannot be de-identified with certainty, and is left out
    ├── InstanceNotFound   no instance with that UID
    ├── SeriesNotFound     no series with that UID
    ├── ValueNotFound      no bytes with that digest, or the file that had them is gone
    └── PixelError         pixels cannot be had as asked
        ├── NoPixels           no instance of the series has pixel data
        ├── NotAVolume         the frames of a series make no regular grid; says why
        ├── NoGradients        the volumes of a series have no diffusion weighting that can be told
        ├── SourceChanged      a file is not what was ingested
        ├── NotReferable       voxels do not lie in their files as they are
        ├── PixelsUnreadable   what a file holds cannot be pixels, or is damaged
        ├── NoSingleUnit       numbers have several units, or several mappings to choose from
        ├── ArrayTooLarge      there is not enough memory for what was asked for
        └── NoDecoder          nothing installed decodes the transfer syntax
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
    SchedulerUnreachable,
    StoreDamaged,
    StoreError,
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
