import type { ScheduleRequest } from '../schedule/request.ts'
import type { Sampling } from '../sequence.ts'

/** A request as the engine runs it. */
export interface EngineRequest extends ScheduleRequest {
  readonly sampling: Sampling
}
