import Basics
internal import CLMDB
import Foundation

/// The map is too small for a transaction; `Environment.write` grows it and runs it again.
struct MapFull: Error {}

/// Checks the result of an LMDB call.
///
/// - Parameter doing: what the call was for, with the path: "open cache runs/a".
/// - Throws: `MapFull`, or a `Problem` whose kind says whether data, disk or access is at fault.
func check(_ code: CInt, _ doing: @autoclosure () -> String) throws {
  if code == MDB_SUCCESS { return }
  if code == MDB_MAP_FULL { throw MapFull() }
  throw failure(code, doing())
}

/// The problem that an LMDB result code stands for.
private func failure(_ code: CInt, _ doing: String) -> Problem {
  let reason = "\(String(cString: mdb_strerror(code))) (LMDB code \(code))"
  switch code {
  case ENOSPC, EDQUOT, EFBIG:
    return Problem(
      .inputOutput,
      "\(doing): \(reason); earlier commits are intact: make room, then run the same command again")
  // LMDB calls a write that took only a part EIO: a disk that has just become full.
  case EIO, MDB_PANIC:
    return Problem(
      .inputOutput,
      "\(doing): \(reason); earlier commits are intact: see that the disk works and has room, then "
        + "run the same command again")
  case MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_INVALID, MDB_VERSION_MISMATCH, MDB_INCOMPATIBLE,
    MDB_NOTFOUND, MDB_BAD_VALSIZE:
    return Problem(.corrupt, "\(doing): \(reason)")
  case ENOENT:
    return Problem(.noInput, "\(doing): \(reason)")
  case EACCES, EPERM, EROFS:
    return Problem(.cannotCreate, "\(doing): \(reason)")
  default:
    return Problem(.inputOutput, "\(doing): \(reason)")
  }
}
