/** What the in-process back end counts of a queue pair: frames, as plain numbers. */
export interface InProcessCounters {
  /** From the queue to the driver, and those that no receive buffer could take. */
  received: number;
  receiveDropped: number;
  /** From the driver to the queue, and those that the queue did not take: its link is down, their header bad. */
  sent: number;
  sendDropped: number;
}

export function noInProcessCounters(): InProcessCounters {
  return { received: 0, receiveDropped: 0, sent: 0, sendDropped: 0 };
}
