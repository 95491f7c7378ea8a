/** Formats of strings that are followed; others say nothing, as JSON Schema has it. */
export const stringFormats: Readonly<Record<string, string>> = formats()

function formats() {
  const month30 = '(0[469]|11)-(0[1-9]|[12]\\d|30)'
  const month31 = '(0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])'
  // A leap day would want to know of the year.
  const date = `\\d{4}-(${month31}|${month30}|02-(0[1-9]|1\\d|2[0-8]))`
  const clock = '([01]\\d|2[0-3]):[0-5]\\d'
  const time = `${clock}:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]${clock})`
  const byte = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
  const label = '[A-Za-z0-9]+(-[A-Za-z0-9]+)*'
  return {
    date,
    time,
    'date-time': `${date}T${time}`,
    uuid: '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}',
    ipv4: `${byte}(\\.${byte}){3}`,
    email: `[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@${label}(\\.${label})+`,
  }
}
