"""The page's Chinese words for what the code names in English."""

from typing import Final

MEASURES: Final = {
    "handled": "办件", "applied": "申报", "accepted": "受理", "completed": "办结", "completed_on_time": "按时办结",
    "not_accepted": "不予受理", "returned": "退件", "withdrawn": "撤件", "online": "网办",
}  # fmt: skip

CASE_STEPS: Final = {
    "applied": "申报", "accepted": "受理", "supplement_requested": "补正", "not_accepted": "不予受理", "returned": "退件",
    "withdrawn": "撤件", "completed": "办结", "voided": "作废",
}  # fmt: skip

REGISTERS: Final = {
    "county": "县(市、区)", "item": "事项", "channel": "办理渠道", "promised_on": "承诺办结日", "services": "联合报装服务",
    "delete": "删除标记", **{f"step:{code}": f"环节:{name}" for code, name in CASE_STEPS.items()},
}  # fmt: skip

CHANNELS: Final = {"window": "窗口", "web": "网上", "mobile": "手机", "mail": "邮寄", "other": "其他"}
OUTCOMES: Final = {"granted": "准予", "denied": "不予"}
OPERATIONS: Final = {"upsert": "报送", "retract": "撤回", "delete": "删除"}

CAUSES: Final = {
    "new": "新增", "moved": "改属地或事项", "corrected": "更正", "deleted": "删除", "restored": "恢复", "recount": "重算",
}  # fmt: skip

SERVICES: Final = {
    "water": "供水", "drainage": "排水", "power": "供电", "gas": "燃气", "heat": "供热", "telecom": "通信",
    "cable_tv": "有线电视",
}  # fmt: skip

STEPS: Final = {
    "accepted": "受理", "surveyed": "踏勘", "plan_replied": "方案答复", "permitted": "外线审批", "works_started": "施工",
    "works_done": "完工", "inspected": "验收", "connected": "接通", "cancelled": "取消", "paused": "暂停", "resumed": "恢复",
}  # fmt: skip

LEVELS: Final = {"none": "未进驻", "agency": "委托代办", "comprehensive_window": "综合窗口", "own_window": "独立窗口"}
HANDLES: Final = {"joint_installation": "报装", "public_service": "公用服务"}
WAITS: Final = {"company": "企业", "authority": "审批部门", "applicant": "用户(已暂停)", "season": "供暖季"}

STATES: Final = {
    "opened": "已受理", "connected": "已接通", "cancelled": "已取消", "in_progress": "办理中", "due_soon": "将到期",
    "overdue": "超期", "paused": "已暂停", "unplaced": "未注明属地或服务", "no_company": "无企业", "unreported": "未报送",
}  # fmt: skip

JOINT_STATES: Final = {"open": "办理中", "complete": "已全部接通", "ended": "已结束"}
