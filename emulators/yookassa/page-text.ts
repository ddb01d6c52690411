/** What the hosted page says, in the two languages of `confirmation.locale`. */
export interface PageText {
  note: string
  pay: string
  method: string
  card: string
  decline: string
  reason: string
  leave: string
  back: string
  save: string
  secure: string
  secure_note: string
  pass: string
  refuse: string
  save_title: string
  agree: string
  unknown: string
  invoice: string
  is_paid: string
  is_held: string
  is_canceled: string
  is_saved: string
  bad_card: string
  methods: Readonly<Record<string, string>>
}

const RU: PageText = {
  note: 'Эмулятор ЮKassa: настоящих денег здесь нет.',
  pay: 'Заплатить',
  method: 'Способ оплаты',
  card: 'Номер карты',
  decline: 'Отклонить',
  reason: 'Причина отказа',
  leave: 'Уйти без оплаты',
  back: 'Вернуться в магазин',
  save: 'Запомнить способ оплаты',
  secure: 'Подтверждение 3-D Secure',
  secure_note: 'Банк просит подтвердить оплату.',
  pass: 'Подтвердить',
  refuse: 'Не подтверждать',
  save_title: 'Привязать карту',
  agree: 'Привязать',
  unknown: 'Такого платежа нет',
  invoice: 'Счёт',
  is_paid: 'Оплачено',
  is_held: 'Деньги удержаны и ждут списания',
  is_canceled: 'Платёж отменён',
  is_saved: 'Карта привязана',
  bad_card: 'В номере карты от 14 до 19 цифр.',
  methods: {
    bank_card: 'Банковская карта',
    sbp: 'СБП',
    yoo_money: 'ЮMoney',
    sberbank: 'SberPay',
    tinkoff_bank: 'T-Pay',
  },
}

const EN: PageText = {
  note: 'YooKassa emulator: no real money here.',
  pay: 'Pay',
  method: 'Payment method',
  card: 'Card number',
  decline: 'Decline',
  reason: 'Reason',
  leave: 'Leave without paying',
  back: 'Back to the shop',
  save: 'Remember this payment method',
  secure: '3-D Secure',
  secure_note: 'The bank asks to confirm the payment.',
  pass: 'Confirm',
  refuse: 'Refuse',
  save_title: 'Save a card',
  agree: 'Save',
  unknown: 'There is no such payment',
  invoice: 'Invoice',
  is_paid: 'Paid',
  is_held: 'The money is held and waits for a capture',
  is_canceled: 'The payment was canceled',
  is_saved: 'The card was saved',
  bad_card: 'A card number has 14 to 19 digits.',
  methods: {
    bank_card: 'Bank card',
    sbp: 'SBP',
    yoo_money: 'YooMoney',
    sberbank: 'SberPay',
    tinkoff_bank: 'T-Pay',
  },
}

export function pageText(language: 'ru' | 'en'): PageText {
  return language === 'en' ? EN : RU
}
