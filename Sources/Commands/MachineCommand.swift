import ArgumentParser
import BLAS
import Basics
import Foundation

struct MachineCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "machine",
    abstract: "Print the CPU, its threads and the OpenBLAS core in use.")

  @Flag(help: "Print the result as JSON (schemas/machine.schema.json).")
  var json = false

  func run() throws {
    let machine = Machine(
      cpu: CPU.name, threads: ProcessInfo.processInfo.activeProcessorCount,
      blasCore: BLASCore.active, deservedCore: BLASCore.deserved ?? BLASCore.active,
      isDeserved: BLASCore.isDeserved)
    if json { return print(try readableJSON(machine), terminator: "") }
    print(
      "\(machine.cpu), \(counted(machine.threads, "thread")), OpenBLAS core \(machine.blasCore)")
    if !machine.isDeserved {
      print("this CPU deserves the core \(machine.deservedCore): unset OPENBLAS_CORETYPE")
    }
  }

  private struct Machine: Encodable {
    var cpu: String
    var threads: Int
    var blasCore: String
    var deservedCore: String
    var isDeserved: Bool
  }
}
