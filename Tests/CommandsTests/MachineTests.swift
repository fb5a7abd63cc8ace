import Basics
import Schemas
import TestSupport
import Testing

@Suite struct MachineTests {
  private func machine(_ environment: [String: String?]) throws -> JSONValue {
    let result = try Program.run(["machine", "--json"], environment: environment)
    try #require(result.exitCode == 0, "\(result.errors)")
    let machine = try parseJSON(result.output.utf8, source: "machine")
    try Schemas.validate(machine, against: .machine, source: "machine")
    return machine
  }

  @Test func `OpenBLAS runs on the core that the CPU deserves`() throws {
    let machine = try machine(["OPENBLAS_CORETYPE": nil])
    #expect(machine["isDeserved"]?.bool == true, "\(machine)")
    #expect((machine["threads"]?.integer ?? 0) >= 1)
    #expect(machine["cpu"]?.string?.isEmpty == false)
  }

  @Test func `a core that the user names is used, and reported when it is too low`() throws {
    let deserved = try machine(["OPENBLAS_CORETYPE": nil])["deservedCore"]?.string
    let machine = try machine(["OPENBLAS_CORETYPE": "Prescott"])
    #expect(machine["blasCore"]?.string == "Prescott")
    #expect(machine["deservedCore"]?.string == deserved)
    #expect(machine["isDeserved"]?.bool == (deserved == "Prescott"))
  }

  @Test func `without JSON the machine is one line`() throws {
    let result = try Program.run(["machine"], environment: ["OPENBLAS_CORETYPE": nil])
    #expect(result.exitCode == 0)
    #expect(result.output.split(separator: "\n").count == 1)
    #expect(result.output.contains("OpenBLAS core"))
  }
}
